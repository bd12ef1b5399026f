/** Why something failed: `code` is for programs, `message` and `hint` for people. */
export class WeirError extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** Whether the client tries again by itself. */
    readonly retryable = false,
    /** How long the daemon asks to wait before that, in milliseconds. */
    readonly after?: number,
    /** What to do about it, where the daemon says so. */
    readonly hint?: string,
  ) {
    super(message);
    this.name = 'WeirError';
  }
}

/** Whatever was thrown; what is not ours comes from the network. */
export function asError(thrown: unknown): WeirError {
  return thrown instanceof WeirError ? thrown : new WeirError('network', String(thrown), true);
}
