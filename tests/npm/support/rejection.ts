/** The error with which a promise is rejected; fails if it is not. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new Error(`Not rejected, but resolved with ${JSON.stringify(value)}`);
}
