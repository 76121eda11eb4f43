import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The dev server passes questions on to a running hoptrace:
//   HOPTRACE=http://127.0.0.1:8090 npm run dev
declare const process: { env: Record<string, string | undefined> }

export default defineConfig({
  plugins: [react()],
  server: {
    host: '127.0.0.1',
    proxy: { '/api': { target: process.env['HOPTRACE'] ?? 'http://127.0.0.1:8090', changeOrigin: true } },
  },
  build: {
    target: 'es2022',
    // Nothing inline: the content security policy allows files only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
})
