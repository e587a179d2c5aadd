-- What sqlite3 does in the guest, on a database in memory.
CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL);
CREATE TABLE sales (id INTEGER PRIMARY KEY, good INTEGER NOT NULL REFERENCES goods, day INTEGER NOT NULL, amount INTEGER NOT NULL);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
INSERT INTO goods SELECT i, printf('good %03d', i * 7919 % 1000), i * 31 % 977 + 1 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO sales SELECT i, i * 7919 % 500 + 1, i * 104729 % 365, i % 17 + 1 FROM n;
COMMIT;
CREATE INDEX sales_by_good ON sales(good, day);
SELECT count(*), sum(amount) FROM sales;
SELECT name, sum(amount * price) AS turnover FROM sales JOIN goods ON goods.id = sales.good GROUP BY good ORDER BY turnover DESC, name LIMIT 5;
SELECT day / 30 AS month, count(DISTINCT good), max(amount * price) FROM sales JOIN goods ON goods.id = sales.good GROUP BY month ORDER BY month;
UPDATE sales SET amount = amount + 1 WHERE good IN (SELECT id FROM goods WHERE name LIKE '%7%');
SELECT sum(amount), avg(amount) FROM sales WHERE day BETWEEN 100 AND 200;
DELETE FROM sales WHERE id % 3 = 0;
SELECT group_concat(total) FROM (SELECT sum(amount) AS total FROM sales GROUP BY good % 20);
