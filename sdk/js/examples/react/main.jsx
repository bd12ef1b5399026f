// A shop and, beside it, what all its visitors do: one client for both, handed down by the provider.
import '../style.css';
import { useState } from 'react';
import { createRoot } from 'react-dom/client';
import { createClient } from 'weir-client';
import { WeirProvider, useWeir, useWeirState } from 'weir-client/react';
import { Dashboard } from './dashboard.jsx';
import { Shop } from './shop.jsx';

const weir = createClient({ source: '/in/demo', interval: 500, consent: sessionStorage.consent ?? 'pending' });

function State() {
  const { status, transport, retryAt } = useWeirState();
  const pause = retryAt ? `, next attempt in ${Math.ceil((retryAt - Date.now()) / 1_000)} s` : '';
  return <span id="state" role="status" className={status} title={transport}>{status}{pause}</span>;
}

/** Until there is an answer nothing leaves the page and nothing is stored. */
function Consent() {
  const weir = useWeir();
  const [answer, setAnswer] = useState(sessionStorage.consent);
  if (answer) return null;
  const say = (consent) => () => {
    sessionStorage.consent = consent;
    weir.setConsent(consent);
    setAnswer(consent);
  };
  return (
    <section className="card span">
      <p>May we count what you do here? Until you choose, nothing leaves this page.</p>
      <nav>
        <button onClick={say('granted')}>Yes</button>
        <button className="quiet" onClick={say('denied')}>No</button>
      </nav>
    </section>
  );
}

createRoot(document.getElementById('root')).render(
  <WeirProvider client={weir}>
    <header>
      <h1>Weir Coffee in React</h1>
      <State />
    </header>
    <main className="board">
      <Consent />
      <Shop />
      <Dashboard />
    </main>
  </WeirProvider>,
);
