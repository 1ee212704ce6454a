-- What a source says is shown and kept without the secrets it was sent, however it spells them.
SET client_min_messages = warning;
SET standard_conforming_strings = on;

CREATE FUNCTION pg_temp.shown(server text, said text) RETURNS text LANGUAGE C STRICT AS '$libdir/etl', 'etl_regress_hide_secrets';
CREATE FUNCTION pg_temp.kept(server text, url text) RETURNS text LANGUAGE C STRICT AS '$libdir/etl', 'etl_regress_link';

CREATE SERVER spelled FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:1');
CREATE USER MAPPING FOR CURRENT_USER SERVER spelled OPTIONS (auth 'api_key', api_key 'k/"\+ &<ä😀>%', api_key_parameter 'key');

SELECT said, pg_temp.shown('spelled', said) AS shown FROM unnest(ARRAY[
	-- as it is, and percent-encoded: all of it, what needs it, in upper, lower and mixed case, a blank as +, twice
	'begin k/"\+ &<ä😀>% end',
	'%6B%2F%22%5C%2B%20%26%3C%C3%A4%F0%9F%98%80%3E%25', 'k%2f%22%5c%2b+%26%3c%c3%a4%f0%9f%98%80%3e%25', 'k/%22%5C%2b%20%26%3cä😀%3e%25',
	'k%252F%2522%255c%252B%2520%2526%253C%25C3%25A4%25f0%259f%2598%2580%253E%2525',
	-- JSON
	'{"said": "k\/\"\\+ &<ä😀>%"}', '{"said": "k/\"\\+ &<\u00e4\ud83d\ude00>%"}', '{"said": "\u006B\u002f\u0022\u005C\u002B\u0020\u0026\u003C\u00E4\uD83D\uDE00\u003e\u0025"}',
	'{"next": "http:\/\/x\/?q=k%2F%22%5C%2B%20%26%3C%C3%A4%F0%9F%98%80%3E%25&a=1"}',
	-- HTML
	'<p>k/&quot;\+ &amp;&lt;ä😀&gt;%</p>', '<p>k&#47;&#34;&#92;&#43;&#32;&#38;&#60;&#228;&#128512;&#62;&#37;</p>', '<p>k&#x2F;&#x22;\+ &#X26;&#x3c;&#xe4;&#x1F600;>%</p>',
	-- twice, back to back
	'k/"\+ &<ä😀>%k%2F%22%5C%2B%20%26%3C%C3%A4%F0%9F%98%80%3E%25']) said;

-- what is not the secret stays, however near it comes
SELECT said FROM unnest(ARRAY['k/"\+ &<ä😀>', 'k%2F%22%5C%2B%20%26%3C%C3%A4%F0%9F%98%80%3E', '%', '%2', '%25', '\', '\u', '\u00', '\ud83d', '\ud83d\u0020', '&', '&#', '&#;', '&#x;', '&#99999999;', '&amp', '+', 'k+/"', '']) said
WHERE pg_temp.shown('spelled', said) <> said;

-- base64, of basic authentication and by itself: with and without padding, in the alphabet of URLs
CREATE SERVER basic FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:1');
CREATE USER MAPPING FOR CURRENT_USER SERVER basic OPTIONS (auth 'basic', username 'me?', password 'pass>>?word~~');
SELECT encode('me?:pass>>?word~~', 'base64') AS base64 \gset
SELECT said, pg_temp.shown('basic', said) AS shown FROM unnest(ARRAY['Authorization: Basic ' || :'base64', 'Basic ' || rtrim(:'base64', '='), 'Basic ' || translate(:'base64', '+/', '-_'),
	'Basic ' || replace(replace(replace(:'base64', '+', '%2b'), '/', '%2f'), '=', '%3d'), 'Basic ' || replace(:'base64', '/', '\/'), 'me?:pass>>?word~~', 'me%3F%3apass%3E%3e%3fword~~']) said;

-- links: the parameter of the key, and whatever holds a secret
SELECT url, pg_temp.kept('spelled', url) AS kept FROM unnest(ARRAY[
	'http://x/?a=1&key=anything&b=2', 'http://x/?KEY=1', 'http://x/?%6bey=1&b=2', 'http://x/?q=k%2F%22%5C%2B%20%26%3C%C3%A4%F0%9F%98%80%3E%25',
	'http://x/?q=k%2f%22%5c%2B+%26%3C%c3%a4%f0%9f%98%80%3e%25&b=2', 'http://x/?q=k%252f%2522%255c%252B%2520%2526%253C%25c3%25a4%25f0%259f%2598%2580%253e%2525&b=2#part',
	'http://x/?q=k%2f%22%5c%2B+%26%3C%c3%a4%f0%9f%98%80%3e%25x', 'http://x/?&&=', 'http://x/']) url;

-- a secret that looks escaped does not take long to be told from what repeats it over and over
CREATE SERVER tangled FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:1');
SELECT format('CREATE USER MAPPING FOR CURRENT_USER SERVER tangled OPTIONS (auth ''bearer'', token %L)', repeat('%25', 100) || '!') \gexec
SET statement_timeout = '20s';
SELECT length(pg_temp.shown('tangled', repeat('%25', 2000))) AS unchanged;
RESET statement_timeout;

DROP SERVER spelled, basic, tangled CASCADE;
