-- A small database: filled, indexed, joined and grouped.
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, city INTEGER, born INTEGER);
CREATE TABLE payment (person INTEGER, amount INTEGER, day INTEGER);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
INSERT INTO person SELECT i, 'name' || (i * 7919 % 6007), i % 97, 1930 + i * 31 % 80 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO payment SELECT i * 104729 % 6000 + 1, i * 7919 % 1000, i % 365 FROM n;
COMMIT;
CREATE INDEX by_person ON payment (person);
CREATE INDEX by_name ON person (name);
SELECT city, count(*), sum(amount), max(born) FROM person JOIN payment ON person = id GROUP BY city ORDER BY 3 DESC LIMIT 10;
SELECT name, (SELECT sum(amount) FROM payment WHERE person = id) AS total FROM person WHERE name LIKE 'name1%' ORDER BY total DESC, name LIMIT 5;
SELECT count(*) FROM person a JOIN person b ON a.name = b.name;
SELECT day % 7, avg(amount) FROM payment GROUP BY 1 ORDER BY 1;
