/**
 * The life tier of the conformance suite on the PostgreSQL store.
 */
import { describeLife } from "../../testing/index.js";
import { postgresTarget } from "./suite.test.target.js";

describeLife(postgresTarget("postgres"));
