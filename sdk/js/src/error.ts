/** Why something failed: `code` is for programs, `message` and `hint` for people. */
export class WeirError extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** Whether the client tries again by itself. */
    readonly retryable = false,
    /** What to do about it, where the daemon says so. */
    readonly hint?: string,
  ) {
    super(message);
    this.name = 'WeirError';
  }
}

/** The error that a refusing reply or an `error` frame describes. */
export function errorOf(told: any, code: string, retryable: boolean): WeirError {
  return new WeirError(told?.code ?? code, told?.message ?? told?.detail ?? code, retryable, told?.hint);
}
