import { checkNode } from './node-version.ts'

// Imported first by each entry point: what follows fails in an old Node with words that nobody understands.
checkNode()
