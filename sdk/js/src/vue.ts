// Composables for Vue 3.
import {
  inject, onScopeDispose, provide, shallowRef, toValue, watch, type InjectionKey, type MaybeRefOrGetter, type ShallowRef,
} from 'vue';
import type { Client, Member, Message, Start } from './index.js';
import type { State } from './subscribe.js';

const KEY: InjectionKey<Client<any, any>> = Symbol('weir');

/** Hands a client to this component and all below it. */
export function provideWeir(client: Client<any, any>): void {
  provide(KEY, client);
}

/** The client that a component above provides. */
export function useWeir(): Client<any, any> {
  const client = inject(KEY);
  if (!client) throw new Error('call provideWeir(client) in a component above');
  return client;
}

/** The state of the connection. */
export function useWeirState(client: Client<any, any> = useWeir()): Readonly<ShallowRef<State>> {
  const state = shallowRef(client.state);
  onScopeDispose(client.on('state', (now) => (state.value = now)));
  return state;
}

/** Calls `handler` for every event on `channel`; `null` subscribes to nothing. */
export function useChannel<D = any>(
  channel: MaybeRefOrGetter<string | null>, handler: (message: Message<D>) => void, start?: Start,
  client: Client<any, any> = useWeir(),
): void {
  watch(() => toValue(channel), (name, _, onCleanup) => {
    if (name !== null) onCleanup(client.subscribe(name, handler, start).unsubscribe);
  }, { immediate: true });
}

/** Goes onto `channel` as the user whom the token names; answers who is there. `null` goes nowhere. */
export function useMembers<I = any>(
  channel: MaybeRefOrGetter<string | null>, client: Client<any, any> = useWeir(),
): Readonly<ShallowRef<Member<I>[]>> {
  const members = shallowRef<Member<I>[]>([]);
  watch(() => toValue(channel), (name, _, onCleanup) => {
    members.value = [];
    if (name !== null) onCleanup(client.presence<I>(name, (change) => (members.value = change.members)).leave);
  }, { immediate: true });
  return members;
}
