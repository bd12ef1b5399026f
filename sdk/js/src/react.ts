// Hooks for React 18 and later.
import {
  createContext, createElement, useContext, useEffect, useRef, useState, useSyncExternalStore, type ReactElement,
  type ReactNode,
} from 'react';
import type { Client, Member, Message, Start } from './index.js';
import type { State } from './subscribe.js';

const Context = createContext<Client<any, any> | undefined>(undefined);

/** Hands a client to the hooks below it. */
export function WeirProvider({ client, children }: { client: Client<any, any>; children?: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: client }, children);
}

/** The client of the nearest provider. */
export function useWeir(): Client<any, any> {
  const client = useContext(Context);
  if (!client) throw new Error('useWeir and its like are for components inside a <WeirProvider>');
  return client;
}

/** The state of the connection. */
export function useWeirState(): State {
  const client = useWeir();
  const state = () => client.state;
  return useSyncExternalStore((changed) => client.on('state', changed), state, state);
}

/** Calls `handler` for every event on `channel`; `null` subscribes to nothing. */
export function useChannel<D = any>(
  channel: string | null, handler: (message: Message<D>) => void, { since, last }: Start = {},
): void {
  const client = useWeir();
  const latest = useRef(handler);
  useEffect(() => {
    latest.current = handler;
  });
  useEffect(() => {
    if (channel === null) return;
    return client.subscribe(channel, (message) => latest.current(message), { since, last }).unsubscribe;
  }, [client, channel, since, last]);
}

/** Goes onto `channel` as the user whom the token names; answers who is there. `null` goes nowhere. */
export function useMembers<I = any>(channel: string | null): Member<I>[] {
  const client = useWeir();
  const [members, setMembers] = useState<Member<I>[]>([]);
  useEffect(() => {
    setMembers([]);
    if (channel === null) return;
    return client.presence<I>(channel, (change) => setMembers(change.members)).leave;
  }, [client, channel]);
  return members;
}

/** The client's `publish`. */
export function usePublish(): Client<any, any>['publish'] {
  return useWeir().publish;
}
