import { render } from 'preact'
import { App } from './app.tsx'
import { start } from './state.ts'

// The server answers while the page is drawn.
start()
const root = document.getElementById('app')
if (root !== null) render(<App />, root)
