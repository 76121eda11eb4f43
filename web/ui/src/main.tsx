import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { ApiError } from './api/client'
import { App } from './app'
import './styles/tokens.css'
import './styles/base.css'
import './styles/app.css'

const queries: QueryClient = new QueryClient({
  queryCache: new QueryCache({
    // The session has ended while a page was open: asking for the status again leads to sign-in.
    onError: (e, q) => {
      if (e instanceof ApiError && e.code === 'sign_in_required' && q.queryKey[0] !== 'status') void queries.invalidateQueries({ queryKey: ['status'] })
    },
  }),
  mutationCache: new MutationCache({
    // One's role is another than the page believes: it asks again, and shows what one may.
    onError: (e) => {
      if (e instanceof ApiError && e.code === 'no_permission') void queries.invalidateQueries({ queryKey: ['me'] })
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      refetchOnWindowFocus: false,
      // The server may well be on this machine: being offline is an answer that fails, not one to wait for.
      networkMode: 'always',
      // A busy or missing server is asked twice more; a refusal stays one.
      retry: (failures, e) => failures < 2 && (!(e instanceof ApiError) || e.status === 0 || e.status === 503),
      retryDelay: (n) => 300 * 2 ** n,
    },
  },
})

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
)
