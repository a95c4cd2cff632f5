// Prints "N passed, N failed[, N skipped]" from vitest's JSON report.
import { existsSync, readFileSync } from 'node:fs'

const [report, status] = process.argv.slice(2)
let passed = 0
let failed = 0
let skipped = 0
if (existsSync(report)) {
  for (const { status: file, assertionResults } of JSON.parse(readFileSync(report, 'utf8')).testResults) {
    const count = (state) => assertionResults.filter((test) => test.status === state).length
    passed += count('passed')
    // A file that could not be loaded, or whose hooks failed, has failed without a failed test.
    failed += file === 'failed' ? Math.max(count('failed'), 1) : 0
    skipped += assertionResults.length - count('passed') - count('failed')
  }
}
// What failed outside the tests (install, types, lint, an unhandled error) is one failure.
if (failed === 0 && status !== '0') failed = 1
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
