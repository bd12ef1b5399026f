// Who is on a channel, for a subscriber that wants to know and be known.
import { call } from './emitter.js';
import { WeirError } from './error.js';
import type { Frame, Subscriber, Subscription } from './subscribe.js';

/** A user, once however many connections it has, and what the claim `info` of its token says. */
export interface Member<I = unknown> {
  user: string;
  info?: I;
}

/** All who are there, and who has just come or gone. */
export interface Change<I = unknown> {
  members: Member<I>[];
  joined?: Member<I>;
  left?: Member<I>;
}

export interface Presence<I = unknown> {
  /** When one is there oneself. Rejects if it is refused. */
  readonly ready: Promise<void>;
  readonly members: Member<I>[];
  leave(): void;
}

/**
 * Goes onto a channel as the user whom the token names, until `leave` or the end of the connection.
 * Calls `handler` with who is there, and for everybody who comes or goes.
 */
export type Enter = <I = any>(channel: string, handler?: (change: Change<I>) => void) => Presence<I>;

/** A channel that this connection is on. */
interface Room {
  channel: string;
  /** What asks for it on the connection; no subscription has such a `ref`. */
  ref: string;
  members: Member<any>[];
  /** Whether `members` came. */
  isKnown?: boolean;
  handlers: Set<(change: Change<any>) => void>;
  subscription: Subscription;
  ready: Promise<void>;
  done: (error?: WeirError) => void;
}

/** The presence of a subscriber. It is told over WebSocket alone; over SSE nobody is there. */
export function createPresence(subscriber: Subscriber<any>): Enter {
  const rooms = new Map<string, Room>();
  let count = 0;
  const ask = ({ channel, ref }: Room, presence: boolean) =>
    subscriber.send!({ type: 'sub', ref, channels: [channel], presence });
  const tell = (room: Room, change: Omit<Change, 'members'> = {}) => {
    const { members } = room;
    for (const handler of [...room.handlers]) call(handler, { members, ...change });
  };
  const close = (room: Room, error?: WeirError) => {
    rooms.delete(room.channel);
    room.subscription.unsubscribe();
    room.done(error);
  };
  const obey = ({ type, ref, channel, user, info, members, code, message, hint }: Frame) => {
    if (type == 'error') {
      const refused = [...rooms.values()].find((room) => room.ref === ref);
      return refused && close(refused, new WeirError(code, message, false, 0, hint));
    }
    const room = rooms.get(channel);
    if (!room) return;
    const left = room.members.find((member) => member.user == user);
    if (type == 'members') {
      room.members = members;
      room.isKnown = true;
      room.done();
      tell(room);
    }
    if (type == 'join' || (type == 'leave' && left)) {
      const joined = type == 'join' ? { user, info } : undefined;
      room.members = room.members.filter((member) => member != left).concat(joined ?? []);
      tell(room, joined ? { joined } : { left });
    }
  };
  subscriber.on('frame', obey);
  subscriber.on('state', ({ status, transport }) => {
    if (status != 'connected') return;
    for (const room of rooms.values()) {
      if (transport == 'ws') {
        ask(room, true);
      } else if (room.members.length) {
        room.members = [];
        tell(room);
      }
    }
  });

  const open = (channel: string): Room => {
    let done!: Room['done'];
    const ready = new Promise<void>((resolve, reject) => {
      done = (error) => (error ? reject(error) : resolve());
    });
    ready.catch(() => {});
    const subscription = subscriber.subscribe(channel, () => {});
    const room: Room = { channel, ref: `p${count++}`, members: [], handlers: new Set(), subscription, ready, done };
    rooms.set(channel, room);
    subscription.ready.catch((error) => rooms.get(channel) == room && close(room, error));
    const { status, transport } = subscriber.state;
    if (status == 'connected' && transport == 'ws') ask(room, true);
    return room;
  };
  return (channel, handler = () => {}) => {
    if (!subscriber.send) throw new TypeError('tabs that share a connection have no presence');
    const room = rooms.get(channel) ?? open(channel);
    // Two may bring the same function.
    const own = (change: Change<any>) => handler(change);
    room.handlers.add(own);
    if (room.isKnown) call(own, { members: room.members });
    return {
      ready: room.ready,
      get members() {
        return room.members;
      },
      leave() {
        if (!room.handlers.delete(own) || room.handlers.size || rooms.get(channel) != room) return;
        // Others may still subscribe to the channel.
        ask(room, false);
        close(room);
      },
    };
  };
}
