import { checkNode } from './node-version.ts'

// Imported first by each entry point: the other imports fail in an old Node with an unhelpful message.
checkNode()
