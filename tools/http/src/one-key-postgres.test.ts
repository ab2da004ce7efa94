import { describeOneKey } from "./one-key.test.cases.js";
import { onPostgres } from "./service.test.bed.js";

describeOneKey(onPostgres);
