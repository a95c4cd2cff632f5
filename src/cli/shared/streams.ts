const outputClosed = new AbortController()

/**
 * A reader that leaves (`| head`) is no error: what is still written goes nowhere, and commands that go on for long
 * hear of it through {@link outputGone}.
 */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // EIO: the terminal was closed.
      if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error
      outputClosed.abort()
    })
  }
}

/** Aborted when the output has no reader any more. */
export const outputGone: AbortSignal = outputClosed.signal
