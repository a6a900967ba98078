/**
 * A place for a view inside HTML.
 *
 * JupyterLab forgets widgets when a notebook is closed, and then shows an error where
 * one was, although the output holds HTML as well. So the output is that HTML alone: the
 * static face of the chat, in an element of this name. While the kernel lives, the view
 * stands in it instead of the face. Whoever does not know the element shows the face.
 */

const PLACE_NAME = "kit-chat-place";
const ABSENCE = 600_000; // ms off the page until a place is taken to be gone

/** Whether outputs on this page may be places. */
export function hasPlaces() {
  return document.querySelector(".jp-OutputArea") !== null;
}

/**
 * Have `open(element)` called for each place of the widget `id`; it gives what closes the
 * view in it. Call the result when the widget is gone.
 */
export function fillPlaces(id, open) {
  const { widgets } = placeClass();
  widgets.set(id, open);
  for (const place of document.querySelectorAll(PLACE_NAME)) place.fill();
  return () => {
    widgets.delete(id);
    for (const place of document.querySelectorAll(PLACE_NAME)) place.fill();
  };
}

/** One class for all widgets on the page, whichever came first. */
function placeClass() {
  const known = customElements.get(PLACE_NAME);
  if (known) return known;
  class Place extends HTMLElement {
    static widgets = new Map();

    connectedCallback() {
      clearTimeout(this.leaving);
      this.fill();
    }

    disconnectedCallback() {
      this.leaving = setTimeout(() => this.empty(), ABSENCE);
    }

    fill() {
      const open = Place.widgets.get(this.dataset.widget);
      if (open === this.filledBy) return;
      this.empty();
      this.filledBy = open;
      this.close = open?.(this);
    }

    empty() {
      this.close?.();
      this.close = this.filledBy = undefined;
    }
  }
  customElements.define(PLACE_NAME, Place);
  return Place;
}
