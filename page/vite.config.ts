import { join } from 'node:path'
import { defineConfig } from 'vite'

/** Builds the operator's page into dist/page. Paths are relative: the server may be mounted below another path. */
const config: ReturnType<typeof defineConfig> = defineConfig({
  root: import.meta.dirname,
  base: './',
  build: {
    outDir: join(import.meta.dirname, '../dist/page'),
    emptyOutDir: true,
    assetsDir: 'page/assets',
    // The policy of the page allows no data: URLs, and no inline script.
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
    target: 'es2023',
  },
})

export default config
