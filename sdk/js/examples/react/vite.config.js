import { defineConfig } from 'vite';

const weir = process.env.WEIR ?? 'http://127.0.0.1:8080';

export default defineConfig({
  server: {
    port: 5173,
    // To the page the daemon is its own origin, as behind a reverse proxy that keeps the `Host`.
    proxy: { '/in': { target: weir }, '/live': { target: weir, ws: true } },
    // The client and the style sheet are outside this folder.
    fs: { allow: ['../..'] },
  },
  // The linked client brings a React of its own, and hooks need the page's.
  resolve: { dedupe: ['react', 'react-dom'] },
  oxc: { jsx: { runtime: 'automatic' } },
});
