/**
 * Arithmetic in Python's notation and with its results: `//` and `**`, whole numbers of
 * any length, floats apart from them. Nothing is ever evaluated as code.
 */
import { Float, quoted } from "./format";
import { ToolError } from "./toolErrors";

const MAX_EXPRESSION = 200;
const MAX_DIGITS = 100; // of any number on the way

/** bigint: Python's int; number: its float. */
type Num = bigint | number;

type Node =
  | { kind: "number"; value: Num; text: string }
  | { kind: "name"; name: string }
  | { kind: "unary"; op: "+" | "-"; operand: Node }
  | { kind: "binary"; op: BinaryOp; left: Node; right: Node }
  | { kind: "call"; name: string; args: Node[] };

type BinaryOp = "+" | "-" | "*" | "/" | "//" | "%" | "**";

/** The value, as the tool returns it. Throws ToolError. */
export function calculate(expression: string): bigint | Float {
  if (Array.from(expression).length > MAX_EXPRESSION) {
    throw new ToolError(
      "ValueError",
      `the expression is longer than ${MAX_EXPRESSION} characters`,
    );
  }
  const tree = new Parser(expression).parse();
  if (tree === null) {
    throw new ToolError(
      "ValueError",
      `not an arithmetic expression: ${quoted(expression)}`,
    );
  }
  const value = evaluate(tree);
  return typeof value === "bigint" ? value : new Float(value);
}

// --- parsing ----------------------------------------------------------------------

const NUMBER =
  /^(?:0[xX][\da-fA-F]+|0[bB][01]+|0[oO][0-7]+|(?:\d+(?:_\d+)*)?\.\d+(?:[eE][+-]?\d+)?|\d+(?:_\d+)*\.?(?:[eE][+-]?\d+)?)/;

/** Recursive descent by Python's precedences. */
class Parser {
  private position = 0;

  constructor(private readonly text: string) {}

  /** The tree, or null if the text is no such expression. */
  parse(): Node | null {
    const tree = this.sum();
    this.skipSpaces();
    return this.position === this.text.length ? tree : null;
  }

  private sum(): Node | null {
    return this.leftToRight(["+", "-"], () => this.product());
  }

  private product(): Node | null {
    return this.leftToRight(["//", "*", "/", "%"], () => this.signed());
  }

  private leftToRight(
    ops: readonly BinaryOp[],
    operand: () => Node | null,
  ): Node | null {
    let left = operand();
    while (left !== null) {
      const op = ops.find((candidate) => this.take(candidate));
      if (op === undefined) return left;
      const right = operand();
      left = right && { kind: "binary", op, left, right };
    }
    return null;
  }

  private signed(): Node | null {
    for (const op of ["+", "-"] as const) {
      if (this.take(op)) {
        const operand = this.signed();
        return operand && { kind: "unary", op, operand };
      }
    }
    return this.power();
  }

  private power(): Node | null {
    const base = this.atom();
    if (base === null || !this.take("**")) return base;
    const right = this.signed();
    return right && { kind: "binary", op: "**", left: base, right };
  }

  private atom(): Node | null {
    if (this.take("(")) {
      const inner = this.sum();
      return this.take(")") ? inner : null;
    }
    const name = this.match(/^[A-Za-z_]\w*/);
    if (name !== null) {
      return this.take("(") ? this.call(name) : { kind: "name", name };
    }
    return this.number();
  }

  private call(name: string): Node | null {
    const args: Node[] = [];
    while (!this.take(")")) {
      if (args.length > 0 && !this.take(",")) return null;
      if (args.length > 0 && this.take(")")) break;
      const argument = this.sum();
      if (argument === null) return null;
      args.push(argument);
    }
    return { kind: "call", name, args };
  }

  private number(): Node | null {
    const text = this.match(NUMBER);
    if (text === null || /^\w/.test(this.rest())) return null;
    const digits = text.replaceAll("_", "");
    if (/^0[xXbBoO]/.test(digits) || /^\d+$/.test(digits)) {
      // Python has no numbers like 012.
      if (/^0\d*[1-9]/.test(digits)) return null;
      return { kind: "number", value: BigInt(digits), text };
    }
    return { kind: "number", value: Number(digits), text };
  }

  private take(token: string): boolean {
    this.skipSpaces();
    const rest = this.rest();
    if (!rest.startsWith(token)) return false;
    // `*` and `/` are also the beginnings of other operators.
    if ((token === "*" || token === "/") && rest[1] === token) return false;
    this.position += token.length;
    return true;
  }

  private match(pattern: RegExp): string | null {
    this.skipSpaces();
    const found = pattern.exec(this.rest())?.[0] ?? null;
    this.position += found?.length ?? 0;
    return found;
  }

  private skipSpaces(): void {
    this.position += /^\s*/.exec(this.rest())![0].length;
  }

  private rest(): string {
    return this.text.slice(this.position);
  }
}

// --- evaluation -------------------------------------------------------------------

const CONSTANTS: ReadonlyMap<string, number> = new Map([
  ["pi", Math.PI],
  ["e", Math.E],
]);

const FUNCTIONS: ReadonlyMap<string, (args: Num[]) => Num> = new Map([
  ["abs", (args) => magnitude(only("abs()", args))],
  ["max", (args) => extreme("max", args, (a, b) => a > b)],
  ["min", (args) => extreme("min", args, (a, b) => a < b)],
  ["round", rounded],
  ["sqrt", (args) => squareRoot(only("math.sqrt()", args))],
]);

function evaluate(node: Node): Num {
  switch (node.kind) {
    case "number":
      return bounded(node.value);
    case "name": {
      const value = CONSTANTS.get(node.name);
      if (value === undefined) throw notAllowed(node);
      return value;
    }
    case "unary": {
      const value = evaluate(node.operand);
      return bounded(node.op === "-" ? -value : value);
    }
    case "binary": {
      const left = evaluate(node.left);
      const right = evaluate(node.right);
      if (node.op === "**") checkPower(left, right);
      return bounded(apply(node.op, left, right));
    }
    case "call": {
      const run = FUNCTIONS.get(node.name);
      if (run === undefined) throw notAllowed(node);
      return bounded(run(node.args.map(evaluate)));
    }
  }
}

function apply(op: BinaryOp, left: Num, right: Num): Num {
  if (typeof left === "bigint" && typeof right === "bigint") {
    return applyToInts(op, left, right);
  }
  return applyToFloats(op, Number(left), Number(right));
}

function applyToInts(op: BinaryOp, a: bigint, b: bigint): Num {
  switch (op) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      if (b === 0n) throw divisionByZero();
      return Number(a) / Number(b);
    case "//":
      if (b === 0n) throw divisionByZero();
      return (a - modulo(a, b)) / b;
    case "%":
      if (b === 0n) throw divisionByZero();
      return modulo(a, b);
    case "**":
      return b >= 0n ? a ** b : applyToFloats("**", Number(a), Number(b));
  }
}

/** The remainder with the sign of the divisor. */
function modulo(a: bigint, b: bigint): bigint {
  const remainder = a % b;
  return remainder !== 0n && remainder < 0n !== b < 0n ? remainder + b : remainder;
}

function applyToFloats(op: BinaryOp, a: number, b: number): Num {
  switch (op) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      if (b === 0) throw divisionByZero();
      return a / b;
    case "//":
      if (b === 0) throw divisionByZero();
      return Math.floor(a / b);
    case "%": {
      if (b === 0) throw divisionByZero();
      const remainder = a % b;
      return remainder !== 0 && remainder < 0 !== b < 0 ? remainder + b : remainder;
    }
    case "**":
      if (a === 0 && b < 0) throw divisionByZero();
      if (a < 0 && !Number.isInteger(b)) throw notReal();
      return a ** b;
  }
}

/** Refuse what would take long to find out: 9**9**9. */
function checkPower(base: Num, exponent: Num): void {
  const size = Math.abs(Number(base));
  if (size > 1 && Number(exponent) * Math.log10(size) > MAX_DIGITS) {
    throw tooLong();
  }
}

function bounded(value: Num): Num {
  if (typeof value === "number" && !Number.isFinite(value)) throw tooLong();
  const limit = 10n ** BigInt(MAX_DIGITS);
  const size = magnitude(value);
  if (size >= limit) throw tooLong();
  return value;
}

// --- functions --------------------------------------------------------------------

function magnitude(value: Num): Num {
  if (typeof value === "number") return Math.abs(value);
  return value < 0n ? -value : value;
}

function extreme(
  name: string,
  args: Num[],
  isBetter: (a: Num, b: Num) => boolean,
): Num {
  const first = args[0];
  if (first === undefined) {
    const text = `${name} expected at least 1 argument, got 0`;
    throw new ToolError("TypeError", text);
  }
  if (args.length === 1) {
    const type = typeof first === "bigint" ? "int" : "float";
    throw new ToolError("TypeError", `'${type}' object is not iterable`);
  }
  return args.reduce((best, next) => (isBetter(next, best) ? next : best));
}

function squareRoot(value: Num): number {
  if (value < 0) throw new ToolError("ValueError", "math domain error");
  return Math.sqrt(Number(value));
}

/** Halves go to the even neighbour. Without digits, the result is an int. */
function rounded(args: Num[]): Num {
  const [value, digits] = args;
  if (value === undefined) {
    const text = "round() missing required argument 'number' (pos 1)";
    throw new ToolError("TypeError", text);
  }
  if (args.length > 2) {
    const text = `round() takes at most 2 arguments (${args.length} given)`;
    throw new ToolError("TypeError", text);
  }
  if (typeof digits === "number") {
    const text = "'float' object cannot be interpreted as an integer";
    throw new ToolError("TypeError", text);
  }
  if (typeof value === "bigint") return roundedInt(value, digits ?? 0n);
  if (digits === undefined) return BigInt(toEven(value));
  return roundedFloat(value, Number(digits));
}

function roundedInt(value: bigint, digits: bigint): bigint {
  if (digits >= 0n) return value;
  if (digits < -MAX_DIGITS) return 0n; // and no power of ten without end
  const unit = 10n ** -digits;
  const below = value - modulo(value, unit);
  const twice = 2n * (value - below);
  const up = twice > unit || (twice === unit && (below / unit) % 2n !== 0n);
  return up ? below + unit : below;
}

function roundedFloat(value: number, digits: number): number {
  if (digits > 20) return value;
  if (digits < -MAX_DIGITS) return 0 * value;
  if (digits < 0) {
    const unit = 10 ** -digits;
    return toEven(value / unit) * unit;
  }
  const scaled = value * 10 ** digits;
  const isTie = Math.abs(scaled % 1) === 0.5 && scaled / 10 ** digits === value;
  // `toFixed` works on the exact decimal value, but sends exact halves away from zero.
  if (isTie && isExact(value, digits)) return toEven(scaled) / 10 ** digits;
  return Number(value.toFixed(digits));
}

/** Whether `value` ends at the digit after `digits`: only then it is a real half. */
function isExact(value: number, digits: number): boolean {
  return Number(value.toFixed(digits + 1)) === value && isDyadic(value);
}

/** Whether few binary digits make `value`, as 0.125, unlike 2.675. */
function isDyadic(value: number): boolean {
  return Number.isInteger(value * 2 ** 20);
}

function toEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
  return up ? below + 1 : below;
}

function only(name: string, args: Num[]): Num {
  const [value] = args;
  if (value === undefined || args.length !== 1) {
    const text = `${name} takes exactly one argument (${args.length} given)`;
    throw new ToolError("TypeError", text);
  }
  return value;
}

// --- errors -----------------------------------------------------------------------

function divisionByZero(): ToolError {
  return new ToolError("ZeroDivisionError", "division by zero");
}

function notReal(): ToolError {
  return new ToolError("ValueError", "the result is not a real number");
}

function tooLong(): ToolError {
  const text = `a number on the way has more than ${MAX_DIGITS} digits`;
  return new ToolError("ValueError", text);
}

function notAllowed(node: Node): ToolError {
  const text = `not allowed in an expression: ${written(node)}`;
  return new ToolError("ValueError", text);
}

/** The node as Python writes it. */
function written(node: Node): string {
  switch (node.kind) {
    case "number":
      return node.text;
    case "name":
      return node.name;
    case "unary":
      return `${node.op}${written(node.operand)}`;
    case "binary":
      return `${written(node.left)} ${node.op} ${written(node.right)}`;
    case "call":
      return `${node.name}(${node.args.map(written).join(", ")})`;
  }
}
