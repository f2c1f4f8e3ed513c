-- A text as search sees it: words in lower case with a space between them. The server's own parser takes "read/write" for a
-- file and <b> for nothing, and in a database without a locale it takes quotes and dashes beyond ASCII for letters.
CREATE FUNCTION "posts"."words"(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(
  lower(CASE WHEN octet_length($1) = length($1) THEN $1 ELSE normalize($1, NFC) END COLLATE "unicode"),
  -- Spaces beyond ASCII, too; it knows the others itself.
  '[[:punct:]<>=+^|~$`\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]+', ' ', 'g');
--> statement-breakpoint
CREATE FUNCTION "posts"."search_of"(title text, content text, tags text[]) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN setweight(to_tsvector('english', posts.words(title)), 'A')
    || setweight(to_tsvector('english', posts.words(content)), 'B')
    || setweight(to_tsvector('english', posts.words(array_to_string(tags, ' '))), 'C');
--> statement-breakpoint
-- Where a text has what was searched for: its own characters, with «» around the words that were found. Its own «» become ‹›.
-- The control characters keep the parser from joining words to what is next to them, and go before anybody sees them.
-- More than the first 10,000 characters would take too long.
CREATE FUNCTION "posts"."snippet_of"(content text, query tsquery) RETURNS text LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN translate(
  ts_headline(
    'english',
    regexp_replace(translate(left(content, 10000), '«»', '‹›') COLLATE "unicode", '([[:punct:]<>=+^|~$`])', E'\x01\\1\x01', 'g'),
    query,
    'StartSel=«, StopSel=», MaxFragments=2, MaxWords=30, MinWords=10, FragmentDelimiter=" … "'
  ),
  E'\x01', '');
--> statement-breakpoint
CREATE TABLE "posts"."comments" (
	"id" uuid PRIMARY KEY NOT NULL,
	"post_id" uuid NOT NULL,
	"author_id" uuid NOT NULL,
	"content" text NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "posts"."idempotency_keys" (
	"caller" text NOT NULL,
	"key" text NOT NULL,
	"fingerprint" text NOT NULL,
	"result" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_keys_caller_key_pk" PRIMARY KEY("caller","key")
);
--> statement-breakpoint
CREATE TABLE "posts"."post_tags" (
	"tag" text NOT NULL,
	"post_id" uuid NOT NULL,
	CONSTRAINT "post_tags_tag_post_id_pk" PRIMARY KEY("tag","post_id")
);
--> statement-breakpoint
CREATE TABLE "posts"."tag_changes" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "posts"."tag_changes_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"tag" text NOT NULL,
	"change" smallint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "posts"."tags" (
	"name" text collate "C" PRIMARY KEY NOT NULL,
	"posts" integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE "posts"."authors" ADD COLUMN "version" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "posts"."authors" ADD COLUMN "deleted_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "posts"."authors" ADD COLUMN "cleared_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "posts"."posts" ADD COLUMN "version" integer DEFAULT 1 NOT NULL;--> statement-breakpoint
ALTER TABLE "posts"."posts" ADD COLUMN "search" "tsvector" GENERATED ALWAYS AS (posts.search_of(title, content, tags)) STORED;--> statement-breakpoint
ALTER TABLE "posts"."comments" ADD CONSTRAINT "comments_post_id_posts_id_fk" FOREIGN KEY ("post_id") REFERENCES "posts"."posts"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "posts"."comments" ADD CONSTRAINT "comments_author_id_authors_id_fk" FOREIGN KEY ("author_id") REFERENCES "posts"."authors"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "comments_post" ON "posts"."comments" USING btree ("post_id","id");--> statement-breakpoint
CREATE INDEX "comments_author" ON "posts"."comments" USING btree ("author_id","id");--> statement-breakpoint
CREATE INDEX "idempotency_keys_created_at" ON "posts"."idempotency_keys" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "tags_unused" ON "posts"."tags" USING btree ("name") WHERE posts = 0;--> statement-breakpoint
CREATE INDEX "authors_to_clear" ON "posts"."authors" USING btree ("id") WHERE deleted_at is not null and cleared_at is null;--> statement-breakpoint
CREATE INDEX "posts_drafts" ON "posts"."posts" USING btree ("author_id","id") WHERE status = 'draft';--> statement-breakpoint
CREATE INDEX "posts_search" ON "posts"."posts" USING gin ("search") WHERE status = 'published';--> statement-breakpoint
UPDATE "posts"."posts" SET "tags" = array(
  SELECT DISTINCT lower(regexp_replace(trim(normalize(tag, NFC)), '\s+', ' ', 'g') COLLATE "unicode") FROM unnest("tags") AS tag
) WHERE "tags" <> '{}';
--> statement-breakpoint
INSERT INTO "posts"."post_tags" ("tag", "post_id") SELECT unnest("tags"), "id" FROM "posts"."posts" WHERE "status" = 'published';
--> statement-breakpoint
INSERT INTO "posts"."tags" ("name", "posts") SELECT "tag", count(*) FROM "posts"."post_tags" GROUP BY "tag";
