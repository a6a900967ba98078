/** Figures that only a view can measure; the kernel's own come in the status. */

import { inSeconds } from "./elements.js";

const QUIET = 2; // s without anything new, after which that is said

/** Whether the clock of this page is that of the kernel. */
const IS_LOCAL = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

const QUIET_TIP = "Since the last time that something new came to this page.";
const KERNEL_TIP =
  "From the server's writing of the newest text until it was in the kernel. " +
  "How long it takes from there to this page cannot be told: it is on another machine.";

/**
 * How long the newest text took. `delivery`: seconds to the kernel, and when it was
 * there; `seenAt`: when it was on this page, undefined if it was not just then.
 */
export function deliveryFigure(delivery, seenAt) {
  if (!delivery) return null;
  const [toKernel, arrived] = delivery;
  if (!IS_LOCAL) return [`to the kernel ${inMilliseconds(toKernel)}`, KERNEL_TIP];
  if (seenAt === undefined) return null;
  const toPage = seenAt / 1000 - arrived;
  const tip =
    `From the server's writing of the newest text until it was in this page: ` +
    `${inMilliseconds(toKernel)} to the kernel, ${inMilliseconds(toPage)} from there.`;
  return [`delivery ${inMilliseconds(toKernel + toPage)}`, tip];
}

/** That nothing has come for a while. */
export function quietFigure(seconds) {
  return seconds < QUIET ? null : [`quiet for ${inSeconds(seconds)}`, QUIET_TIP];
}

function inMilliseconds(seconds) {
  return `${Math.round(seconds * 1000)} ms`;
}
