/** Requests to the kernel: sent, received, answered. */

const PATIENCE = 3000; // ms until a kernel that does not answer is called busy

export class Kernel {
  constructor(model) {
    this.model = model;
    this.waiting = new Map(); // requests without an answer, by id
  }

  send(content) {
    this.model.send(content);
  }

  /**
   * Ask for something. `handlers`: `busy()` when the kernel has not even received it for
   * a while, `received()`, `answered({error, text})`. Each may be left out.
   */
  request(content, { busy, received, answered } = {}) {
    const id = crypto.randomUUID?.() ?? String(Math.random());
    const timer = setTimeout(() => busy?.(), PATIENCE);
    const hear = () => {
      clearTimeout(timer);
      received?.();
    };
    this.waiting.set(id, { received: hear, answered: (answer) => answered?.(answer) });
    this.model.send({ ...content, id });
  }

  /** A message of the kernel about a request. */
  hear(message) {
    const request = this.waiting.get(message.id);
    if (message.type === "received") request?.received();
    if (message.type !== "answer") return;
    this.waiting.delete(message.id);
    request?.answered(message);
  }
}
