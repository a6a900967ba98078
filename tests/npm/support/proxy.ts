/** A TCP proxy that can hold answers back, as a bad line does. */
import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type Server,
  type Socket,
} from "node:net";

export class Proxy {
  private readonly sockets = new Set<Socket>();
  private held: (() => void)[] | undefined;

  private constructor(
    private readonly server: Server,
    /** What clients are to connect to. */
    readonly url: string,
  ) {}

  /** A proxy on a free port that passes all on to `target`. */
  static async before(target: string): Promise<Proxy> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const proxy = new Proxy(server, `http://127.0.0.1:${port}`);
    const { hostname, port: targetPort } = new URL(target);
    server.on("connection", (client) => {
      proxy.join(client, connect(Number(targetPort), hostname));
    });
    return proxy;
  }

  /**
   * Answers do not arrive any more; requests still do.
   *
   * Those of a connection that ends meanwhile are lost.
   */
  hold(): void {
    this.held ??= [];
  }

  /** Let the answers that were held back arrive, and all later ones. */
  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const deliver of held) deliver();
  }

  /** Cut all connections; new ones are taken. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Cut all connections and take no more. */
  async close(): Promise<void> {
    const closed = once(this.server, "close");
    this.server.close();
    this.cut();
    await closed;
  }

  private join(client: Socket, server: Socket): void {
    client.on("data", (data) => server.write(data));
    server.on("data", (data) => {
      const deliver = () => {
        if (!client.destroyed) client.write(data);
      };
      if (this.held) this.held.push(deliver);
      else deliver();
    });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.sockets.add(socket);
      socket.on("error", () => {}); // "close" follows
      socket.on("close", () => {
        this.sockets.delete(socket);
        other.destroy();
      });
    }
  }
}
