/**
 * The SQLite store under the conformance suite.
 */
import { describeStore } from "../../testing/index.js";
import { sqliteTarget } from "./suite.test.target.js";

describeStore(sqliteTarget);
