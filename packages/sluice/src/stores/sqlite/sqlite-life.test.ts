/**
 * The life tier of the conformance suite on the SQLite store.
 */
import { describeLife } from "../../testing/index.js";
import { sqliteTarget } from "./suite.test.target.js";

describeLife(sqliteTarget);
