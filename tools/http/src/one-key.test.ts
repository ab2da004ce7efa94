import { describeOneKey } from "./one-key.test.cases.js";
import { onSqlite } from "./service.test.bed.js";

describeOneKey(onSqlite);
