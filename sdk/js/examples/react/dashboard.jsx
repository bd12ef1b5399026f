// The dashboard: draws what comes on all channels. No chart library: bars are rectangles.
import { useEffect, useReducer, useState } from 'react';
import { useChannel } from 'weir-client/react';
import { money } from './shop.jsx';

const SECONDS = 60;
const ROWS_MAX = 10;
/** The way to a purchase: types of events, and what to call them. */
const STEPS = [['page.view', 'Visited'], ['product.view', 'Looked at a coffee'], ['cart.add', 'Took one'], ['order.paid', 'Paid']];
const clock = new Intl.DateTimeFormat('en', { timeStyle: 'medium', hourCycle: 'h23' });

const EMPTY = { events: 0, cents: 0, rate: {}, visitors: {}, latest: [] };

/** The figures with one more event. */
function count(figures, event) {
  const second = Math.floor(Date.parse(event.time) / 1_000);
  const visitors = new Set(figures.visitors[event.type]).add(event.subject);
  return {
    events: figures.events + 1,
    cents: figures.cents + (event.type == 'order.paid' ? event.data.cents : 0),
    rate: { ...figures.rate, [second]: (figures.rate[second] ?? 0) + 1 },
    visitors: { ...figures.visitors, [event.type]: visitors },
    latest: [event, ...figures.latest].slice(0, ROWS_MAX),
  };
}

/** Seconds since 1970, for whoever draws the time. */
function useSecond() {
  const now = () => Math.floor(Date.now() / 1_000);
  const [second, setSecond] = useState(now);
  useEffect(() => {
    const timer = setInterval(() => setSecond(now()), 250);
    return () => clearInterval(timer);
  }, []);
  return second;
}

export function Dashboard() {
  const [figures, add] = useReducer(count, EMPTY);
  useChannel('**', add, { last: 500 });
  const { events, cents, rate, visitors, latest } = figures;
  return (
    <>
      <Rate rate={rate} />
      <section className="card">
        <h2>Funnel</h2>
        <Funnel visitors={visitors} />
      </section>
      <section className="card">
        <h2>So far</h2>
        <dl id="totals" className="totals">
          <div><dt>Events</dt><dd>{events}</dd></div>
          <div><dt>Revenue</dt><dd>{money.format(cents / 100)}</dd></div>
        </dl>
      </section>
      <Latest events={latest} />
    </>
  );
}

function Rate({ rate }) {
  const second = useSecond();
  const counts = Array.from({ length: SECONDS }, (_, n) => rate[second - SECONDS + 1 + n] ?? 0);
  const most = Math.max(5, ...counts);
  return (
    <section className="card span">
      <h2>Events per second</h2>
      <svg id="rate" viewBox="0 0 600 120" preserveAspectRatio="none" role="img" aria-label="events per second">
        {counts.map((count, n) => {
          const height = (count / most) * 120;
          return <rect key={n} x={n * 10 + 1} y={120 - height} width="8" height={height} />;
        })}
      </svg>
      <p className="axis"><span>1 minute ago</span><span>{Math.max(...counts)} at most</span></p>
    </section>
  );
}

function Funnel({ visitors }) {
  const sizes = STEPS.map(([type]) => visitors[type]?.size ?? 0);
  return (
    <ol id="funnel" className="funnel">
      {STEPS.map(([type, name], step) => {
        const share = sizes[0] ? sizes[step] / sizes[0] : 0;
        return (
          <li key={type}>
            <span>{name}</span><progress value={Math.min(1, share)} /><b>{sizes[step]}</b><span>{Math.round(share * 100)} %</span>
          </li>
        );
      })}
    </ol>
  );
}

function Latest({ events }) {
  return (
    <section className="card span">
      <h2>Latest events</h2>
      <div className="scroll">
        <table>
          <thead><tr><th>Time</th><th>Type</th><th>Visitor</th><th>Data</th></tr></thead>
          <tbody id="latest">
            {events.map(({ id, time, type, subject, data }) => (
              <tr key={id}>
                <td>{clock.format(new Date(time))}</td><td>{type}</td><td>{subject}</td><td>{JSON.stringify(data)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
