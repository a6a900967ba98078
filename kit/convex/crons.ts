/**
 * What runs by the clock, whatever else happens.
 *
 * The sweep for dead producers schedules itself while replies are being written, see
 * `lib/sweeps`. That chain ends if one of its runs fails; this one does not.
 */
import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();

crons.interval(
  "look for replies whose producer died",
  { hours: 1 },
  internal.streaming.sweep,
  {},
);

export default crons;
