// A chat. pusher-js comes from its npm package, unmodified; all it is told is where to connect to.
const byId = (id) => document.getElementById(id);
const user = new URLSearchParams(location.search).get('user') ?? `guest-${Math.random().toString(36).slice(2, 6)}`;
const headers = { 'x-user': encodeURIComponent(user) };
const { key, wsHost, wsPort } = await (await fetch('/settings.json')).json();

const pusher = new Pusher(key, {
  cluster: '',
  wsHost,
  wsPort,
  forceTLS: false,
  enabledTransports: ['ws', 'wss'],
  channelAuthorization: { endpoint: '/auth', headers },
});
pusher.connection.bind('state_change', ({ current }) => {
  byId('state').textContent = current;
  byId('state').className = current;
});

const chat = pusher.subscribe('presence-chat');

/** A row with a name before it. */
function row(name, text) {
  const [item, who, what] = ['li', 'b', 'span'].map((tag) => document.createElement(tag));
  who.textContent = name;
  what.textContent = text;
  item.append(who, what);
  return item;
}

function drawMembers() {
  const rows = [];
  chat.members.each(({ id, info }) => rows.push(row(info.name, id == chat.members.me.id ? 'you' : '')));
  byId('members').replaceChildren(...rows);
}
for (const event of ['pusher:subscription_succeeded', 'pusher:member_added', 'pusher:member_removed']) chat.bind(event, drawMembers);

chat.bind('said', ({ user, text }) => {
  byId('said').append(row(user, text));
  byId('typing').textContent = '';
});

let quiet;
chat.bind('client-typing', (_, { user_id }) => {
  byId('typing').textContent = `${user_id} is typing`;
  clearTimeout(quiet);
  quiet = setTimeout(() => (byId('typing').textContent = ''), 2_000);
});

let told = 0;
byId('say').addEventListener('input', () => {
  // Goes to the others without the server. At most one a second: the daemon allows ten.
  if (Date.now() - told > 1_000) told = chat.trigger('client-typing', {}) ? Date.now() : told;
});
byId('say').addEventListener('submit', async (submit) => {
  submit.preventDefault();
  const body = new URLSearchParams(new FormData(submit.target));
  const reply = await fetch('/say', { method: 'POST', headers, body });
  if (reply.ok) submit.target.reset();
  else byId('typing').textContent = await reply.text();
});
