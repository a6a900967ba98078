/** The chat view in the browser: what anywidget calls. */

import { Feed } from "./feed.js";
import { Kernel } from "./kernel.js";
import { fillPlaces, hasPlaces } from "./place.js";
import { homeOf, View } from "./view.js";

const CHECK_PACE = 2000; // ms
const LINGER = 5000; // ms that a view waits for the element that takes the place of its own

/** The widget, shared by all of its views. */
class Widget {
  constructor(model) {
    this.id = model.get("place");
    this.views = new Set();
    this.kernel = new Kernel(model);
    const snapshots = () => model.get("snapshot")?.panes ?? [];
    this.feeds = snapshots().map((snapshot, number) => {
      const feed = new Feed(this.kernel, number);
      feed.load(snapshot);
      return feed;
    });
    model.on("change:snapshot", () => {
      this.feeds.forEach((feed, number) => feed.offer(snapshots()[number]));
    });
    model.on("msg:custom", (message) => {
      if (message.type === "ops") this.feeds[message.pane].receive(message);
      else this.kernel.hear(message);
    });
  }

  /** Do what is to be done without any view; call the result to end that. */
  start() {
    const check = () => this.feeds.forEach((feed) => feed.check());
    const checking = setInterval(check, CHECK_PACE);
    const leavePlaces = fillPlaces(this.id, (el) => this.open(el));
    if (hasPlaces()) this.kernel.send({ type: "places" });
    return () => {
      clearInterval(checking);
      leavePlaces();
    };
  }

  /**
   * Show a view in `el`, as soon as that is on the page; call the result to end it.
   *
   * When an output is refreshed, JupyterLab puts another element in the place of the
   * first, which it keeps or drops. The view then moves, with whatever the reader has
   * written, folded and scrolled to.
   */
  open(el) {
    el.classList.add("kit-view");
    let view = null;
    const settle = () => {
      if (view || !el.isConnected) return;
      view = this.#leftBehind(el) ?? new View(this.feeds);
      this.views.add(view);
      view.moveTo(el);
    };
    const appearing = new ResizeObserver(settle);
    appearing.observe(el);
    return () => {
      appearing.disconnect();
      el.classList.remove("kit-view");
      setTimeout(() => {
        if (view?.el !== el) return; // it has moved on
        this.views.delete(view);
        view.end();
      }, LINGER);
    };
  }

  #leftBehind(el) {
    const home = homeOf(el);
    return [...this.views].find((view) => view.home === home && !view.el.isConnected);
  }
}

// Called once per widget, so that its views share it.
export default () => {
  let widget;
  return {
    initialize({ model }) {
      widget = new Widget(model);
      return widget.start();
    },
    render: ({ el }) => widget.open(el),
  };
};
