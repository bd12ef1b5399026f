// Publishes with fetch, subscribes with EventSource: no library needed.
const ROWS_MAX = 50;
const byId = (id) => document.getElementById(id);
const visitor = `visitor-${Math.floor(Math.random() * 1e6)}`;
const counts = new Map();

async function publish(type, data) {
  const query = new URLSearchParams({ type, subject: visitor });
  const answer = byId('answer');
  try {
    const reply = await fetch(`/in/demo?${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(data),
    });
    const body = await reply.json();
    answer.textContent = `${reply.status} ${body.status ?? body.code}: ${body.id ?? body.detail}`;
  } catch (error) {
    answer.textContent = `not sent: ${error.message}`;
  }
}

function show({ channel, event }) {
  counts.set(channel, (counts.get(channel) ?? 0) + 1);
  byId('counts').replaceChildren(...[...counts].sort().map(([name, count]) => {
    const item = document.createElement('li');
    item.textContent = `${name} ${count}`;
    return item;
  }));
  const row = document.createElement('tr');
  const time = new Date(event.time).toLocaleTimeString();
  for (const text of [channel, time, JSON.stringify(event.data)]) {
    row.insertCell().textContent = text;
  }
  const rows = byId('events');
  rows.prepend(row);
  while (rows.children.length > ROWS_MAX) rows.lastChild.remove();
  byId('empty').hidden = true;
}

const state = byId('state');
const live = new EventSource('/live/main/sse?channel=**&last=20');
live.addEventListener('open', () => { state.textContent = 'connected'; });
live.addEventListener('error', () => { state.textContent = 'reconnecting…'; });
live.addEventListener('message', (message) => show(JSON.parse(message.data)));
live.addEventListener('gap', () => { state.textContent = 'connected, some events were missed'; });

for (const button of document.querySelectorAll('[data-type]')) {
  button.addEventListener('click', () => publish(button.dataset.type, {
    path: location.pathname,
    bot: button.dataset.bot === 'true',
  }));
}
byId('form').addEventListener('submit', (submit) => {
  submit.preventDefault();
  const { type, ...data } = Object.fromEntries(new FormData(submit.target));
  publish(type, data);
});
