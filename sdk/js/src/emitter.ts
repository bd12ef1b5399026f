/** Handlers by the name of what they wait for. */
export interface Emitter<E> {
  /** Calls `handler` whenever it happens; answers what ends that. */
  on<K extends keyof E>(name: K, handler: (value: E[K]) => void): () => void;
  emit<K extends keyof E>(name: K, value: E[K]): void;
}

/** Calls a handler; one that throws stops nobody else and is reported as uncaught. */
export function call<T>(handler: (value: T) => void, value: T): void {
  try {
    handler(value);
  } catch (error) {
    Promise.reject(error);
  }
}

export function createEmitter<E>(): Emitter<E> {
  const handlers = new Map<keyof E, Set<(value: any) => void>>();
  return {
    on(name, handler) {
      const known = handlers.get(name) ?? new Set();
      handlers.set(name, known.add(handler));
      return () => known.delete(handler);
    },
    emit(name, value) {
      for (const handler of [...(handlers.get(name) ?? [])]) call(handler, value);
    },
  };
}
