/**
 * The PostgreSQL store under the conformance suite.
 */
import { describeStore } from "../../testing/index.js";
import { postgresTarget } from "./suite.test.target.js";

describeStore(postgresTarget("postgres"));
