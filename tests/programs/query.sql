-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, value REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO t SELECT i, 'name ' || (i % 17), i * 0.5 FROM n;
CREATE INDEX by_name ON t(name);
SELECT name, count(*), round(avg(value), 3) FROM t GROUP BY name ORDER BY name LIMIT 5;
BEGIN;
DELETE FROM t WHERE id % 2;
ROLLBACK;
VACUUM;
PRAGMA integrity_check;
SELECT count(*), sum(length(name)) FROM t;
