/** A tool's failure, named as its Python twin names it: the model reads both. */
export class ToolError extends Error {
  constructor(
    override readonly name: "ValueError" | "TypeError" | "ZeroDivisionError",
    message: string,
  ) {
    super(message);
  }
}
