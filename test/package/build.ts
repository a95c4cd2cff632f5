import { execFileSync } from 'node:child_process'

/** Tests of the command run what users run: the compiled files. `COMPILED=1`: they are there already. */
export function setup(): void {
  if (process.env['COMPILED'] === '1') return
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: ['ignore', 'inherit', 'inherit'] })
}
