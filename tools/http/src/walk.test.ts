import { onSqlite } from "./service.test.bed.js";
import { describeWalk } from "./walk.test.cases.js";

describeWalk(onSqlite, { withKey: false });
