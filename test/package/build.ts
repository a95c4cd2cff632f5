import { execFileSync } from 'node:child_process'

/** Tests of the command run what users run: the compiled files. */
export function setup(): void {
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: ['ignore', 'inherit', 'inherit'] })
}
