/**
 * The contract: which version of the functions a deployment has.
 *
 * Functions and those who call them are deployed apart, so that either may be older
 * than the other. `kit doctor` compares the deployment's version with its own; a
 * deployment without this function is older than the first.
 */
import { v } from "convex/values";
import { query } from "./_generated/server";

/**
 * Raised by one, in both languages, with any change that a caller can notice.
 *
 * Such are: a function, an argument or a field of a result that is new, gone or means
 * something else; another order or kind of chunks; another error code. Not such are:
 * texts of errors, internal functions, tables that no caller sees, and speed.
 */
const VERSION = 3;

/** The version of the contract that these functions keep. */
export const version = query({
  args: {},
  returns: v.number(),
  handler: async () => VERSION,
});
