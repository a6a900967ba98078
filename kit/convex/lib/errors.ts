/**
 * Errors that a client may handle: ConvexErrors whose data says what and why.
 *
 * `data` is `{code, message, …}`: a program goes by the code, a person by the text.
 *
 * | code | thrown when |
 * |---|---|
 * | NotFound | there is no such task, message or stream, or it is another user's |
 * | StreamActive | an earlier reply of the task has not ended: stop it first, or queue |
 * | QueueFull | as many messages of the task are queued as may be |
 * | ClientMessageIdTaken | this `clientMessageId` was sent with another prompt |
 * | BadArguments | an argument has the right type, but cannot be used |
 * | UnknownTool | `tools` names a tool that does not exist |
 * | Unauthenticated | the deployment asks who calls, and the caller is not signed in |
 * | BadSetting | an environment variable of the deployment cannot be used |
 * | StillStreaming | a reply that this call follows takes too long |
 */
import { ConvexError, type Value } from "convex/values";
import { general } from "./format";

export type ErrorCode =
  | "NotFound"
  | "StreamActive"
  | "QueueFull"
  | "ClientMessageIdTaken"
  | "BadArguments"
  | "UnknownTool"
  | "Unauthenticated"
  | "BadSetting"
  | "StillStreaming";

/** The error to throw. */
export function refusal(
  code: ErrorCode,
  message: string,
  data: Record<string, Value> = {},
): ConvexError<Record<string, Value>> {
  const error = new ConvexError({ code, message, ...data });
  // Its own would be the data as JSON.
  error.message = message;
  return error;
}

/** `value`. Throws BadArguments unless it is whole and in [low, high]. */
export function wholeNumber(
  value: number,
  name: string,
  low: number,
  high: number,
): number {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw refusal(
      "BadArguments",
      `\`${name}\` must be a whole number from ${low} to ${high}, not ${general(value)}.`,
    );
  }
  return value;
}
