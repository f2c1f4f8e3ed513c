/**
 * Where the programs run, apart from who runs them: nothing of the application's environment, secrets least of all,
 * leaks in.
 */
export const surroundings = { cwd: '/', env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' } }
