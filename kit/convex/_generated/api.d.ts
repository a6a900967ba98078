/* eslint-disable */
/**
 * Generated `api` utility.
 *
 * THIS CODE IS AUTOMATICALLY GENERATED.
 *
 * To regenerate, run `npx convex dev`.
 * @module
 */

import type {
  ApiFromModules,
  FilterApi,
  FunctionReference,
} from "convex/server";
import type * as contract from "../contract.js";
import type * as crons from "../crons.js";
import type * as lib_agent from "../lib/agent.js";
import type * as lib_alarm from "../lib/alarm.js";
import type * as lib_begin from "../lib/begin.js";
import type * as lib_calculator from "../lib/calculator.js";
import type * as lib_deltas from "../lib/deltas.js";
import type * as lib_endings from "../lib/endings.js";
import type * as lib_errors from "../lib/errors.js";
import type * as lib_format from "../lib/format.js";
import type * as lib_generate from "../lib/generate.js";
import type * as lib_llm_anthropic from "../lib/llm/anthropic.js";
import type * as lib_llm_chat from "../lib/llm/chat.js";
import type * as lib_llm_conversation from "../lib/llm/conversation.js";
import type * as lib_llm_errors from "../lib/llm/errors.js";
import type * as lib_llm_failures from "../lib/llm/failures.js";
import type * as lib_llm_providers from "../lib/llm/providers.js";
import type * as lib_llm_reader from "../lib/llm/reader.js";
import type * as lib_llm_responses from "../lib/llm/responses.js";
import type * as lib_llm_route from "../lib/llm/route.js";
import type * as lib_llm_secret from "../lib/llm/secret.js";
import type * as lib_llm_transport from "../lib/llm/transport.js";
import type * as lib_llm_wire from "../lib/llm/wire.js";
import type * as lib_log from "../lib/log.js";
import type * as lib_owners from "../lib/owners.js";
import type * as lib_parts from "../lib/parts.js";
import type * as lib_removal from "../lib/removal.js";
import type * as lib_requests from "../lib/requests.js";
import type * as lib_settings from "../lib/settings.js";
import type * as lib_steps from "../lib/steps.js";
import type * as lib_stored from "../lib/stored.js";
import type * as lib_streams from "../lib/streams.js";
import type * as lib_sweeps from "../lib/sweeps.js";
import type * as lib_text from "../lib/text.js";
import type * as lib_toolErrors from "../lib/toolErrors.js";
import type * as lib_tools from "../lib/tools.js";
import type * as lib_validation from "../lib/validation.js";
import type * as lib_writer from "../lib/writer.js";
import type * as messages from "../messages.js";
import type * as streaming from "../streaming.js";
import type * as tasks from "../tasks.js";

/**
 * A utility for referencing Convex functions in your app's API.
 *
 * Usage:
 * ```js
 * const myFunctionReference = api.myModule.myFunction;
 * ```
 */
declare const fullApi: ApiFromModules<{
  contract: typeof contract;
  crons: typeof crons;
  "lib/agent": typeof lib_agent;
  "lib/alarm": typeof lib_alarm;
  "lib/begin": typeof lib_begin;
  "lib/calculator": typeof lib_calculator;
  "lib/deltas": typeof lib_deltas;
  "lib/endings": typeof lib_endings;
  "lib/errors": typeof lib_errors;
  "lib/format": typeof lib_format;
  "lib/generate": typeof lib_generate;
  "lib/llm/anthropic": typeof lib_llm_anthropic;
  "lib/llm/chat": typeof lib_llm_chat;
  "lib/llm/conversation": typeof lib_llm_conversation;
  "lib/llm/errors": typeof lib_llm_errors;
  "lib/llm/failures": typeof lib_llm_failures;
  "lib/llm/providers": typeof lib_llm_providers;
  "lib/llm/reader": typeof lib_llm_reader;
  "lib/llm/responses": typeof lib_llm_responses;
  "lib/llm/route": typeof lib_llm_route;
  "lib/llm/secret": typeof lib_llm_secret;
  "lib/llm/transport": typeof lib_llm_transport;
  "lib/llm/wire": typeof lib_llm_wire;
  "lib/log": typeof lib_log;
  "lib/owners": typeof lib_owners;
  "lib/parts": typeof lib_parts;
  "lib/removal": typeof lib_removal;
  "lib/requests": typeof lib_requests;
  "lib/settings": typeof lib_settings;
  "lib/steps": typeof lib_steps;
  "lib/stored": typeof lib_stored;
  "lib/streams": typeof lib_streams;
  "lib/sweeps": typeof lib_sweeps;
  "lib/text": typeof lib_text;
  "lib/toolErrors": typeof lib_toolErrors;
  "lib/tools": typeof lib_tools;
  "lib/validation": typeof lib_validation;
  "lib/writer": typeof lib_writer;
  messages: typeof messages;
  streaming: typeof streaming;
  tasks: typeof tasks;
}>;
export declare const api: FilterApi<
  typeof fullApi,
  FunctionReference<any, "public">
>;
export declare const internal: FilterApi<
  typeof fullApi,
  FunctionReference<any, "internal">
>;
