/** The server that all tests of a run share. Its URL is in the environment, so that child processes have it as well. */

export const urlVariable = "SLUICE_TEST_POSTGRES_URL";
/** Why there is none, when the run has tried to start one. */
export const failureVariable = "SLUICE_TEST_POSTGRES_FAILURE";

/**
 * Of a database that other tests use at the same time: make a database or a schema in it.
 * @throws When this run has no server.
 */
export function testPostgresUrl(): string {
  const url = process.env[urlVariable];
  if (url !== undefined && url !== "") return url;
  const failure = process.env[failureVariable];
  throw new Error(
    failure === undefined
      ? `No test server: ${urlVariable} is not set. vitest starts one for test files with "postgres" in their path, see vitest.config.js.`
      : `No test server: it could not be started. ${failure}`,
  );
}
