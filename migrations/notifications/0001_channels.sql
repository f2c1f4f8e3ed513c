CREATE TABLE "notifications"."recipients" (
	"user_id" uuid PRIMARY KEY NOT NULL,
	"email" text,
	"first_name" text,
	"sequence" bigint DEFAULT 0 NOT NULL,
	"notified" bigint DEFAULT 0 NOT NULL,
	"phone" text,
	"kinds" jsonb,
	"version" integer DEFAULT 0 NOT NULL,
	"deleted_at" timestamp with time zone
);
--> statement-breakpoint
ALTER TABLE "notifications"."notifications" ADD COLUMN "sequence" bigint;--> statement-breakpoint
ALTER TABLE "notifications"."notifications" ADD COLUMN "link" text;--> statement-breakpoint
ALTER TABLE "notifications"."notifications" ADD COLUMN "version" integer DEFAULT 1 NOT NULL;--> statement-breakpoint
UPDATE "notifications"."notifications" AS n SET "sequence" = numbered."sequence"
	FROM (SELECT "id", row_number() OVER (PARTITION BY "user_id" ORDER BY "id") AS "sequence" FROM "notifications"."notifications") AS numbered
	WHERE numbered."id" = n."id";--> statement-breakpoint
ALTER TABLE "notifications"."notifications" ALTER COLUMN "sequence" SET NOT NULL;--> statement-breakpoint
INSERT INTO "notifications"."recipients" ("user_id", "notified")
	SELECT "user_id", max("sequence") FROM "notifications"."notifications" GROUP BY "user_id";--> statement-breakpoint
DROP INDEX "notifications"."notifications_of_user";--> statement-breakpoint
CREATE UNIQUE INDEX "notifications_of_user" ON "notifications"."notifications" USING btree ("user_id","sequence");--> statement-breakpoint
CREATE INDEX "notifications_unread" ON "notifications"."notifications" USING btree ("user_id","sequence") WHERE read_at is null;--> statement-breakpoint
ALTER TABLE "notifications"."emails" RENAME TO "outgoing";--> statement-breakpoint
ALTER INDEX "notifications"."emails_pkey" RENAME TO "outgoing_pkey";--> statement-breakpoint
ALTER TABLE "notifications"."outgoing" ADD COLUMN "channel" text DEFAULT 'email' NOT NULL;--> statement-breakpoint
ALTER TABLE "notifications"."outgoing" ALTER COLUMN "channel" DROP DEFAULT;--> statement-breakpoint
ALTER TABLE "notifications"."outgoing" ADD COLUMN "user_id" uuid;--> statement-breakpoint
ALTER TABLE "notifications"."outgoing" ALTER COLUMN "subject" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "notifications"."outgoing" ADD COLUMN "html" text;--> statement-breakpoint
ALTER TABLE "notifications"."outgoing" ADD COLUMN "version" integer DEFAULT 1 NOT NULL;--> statement-breakpoint
ALTER TABLE "notifications"."outgoing" ADD COLUMN "sent_at" timestamp with time zone;--> statement-breakpoint
DROP INDEX "notifications"."emails_due";--> statement-breakpoint
CREATE INDEX "outgoing_due" ON "notifications"."outgoing" USING btree ("channel","due_at") WHERE status = 'queued';--> statement-breakpoint
CREATE INDEX "outgoing_done" ON "notifications"."outgoing" USING btree ("created_at") WHERE status <> 'queued';--> statement-breakpoint
CREATE INDEX "outgoing_of_user" ON "notifications"."outgoing" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "outgoing_to" ON "notifications"."outgoing" USING btree (lower("to"));--> statement-breakpoint
CREATE TABLE "notifications"."subscriptions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"endpoint" text NOT NULL,
	"p256dh" text NOT NULL,
	"auth" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX "subscriptions_endpoint" ON "notifications"."subscriptions" USING btree ("endpoint");--> statement-breakpoint
CREATE INDEX "subscriptions_of_user" ON "notifications"."subscriptions" USING btree ("user_id");--> statement-breakpoint
CREATE TABLE "notifications"."push_keys" (
	"one" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"public_key" text NOT NULL,
	"private_key" text NOT NULL,
	CONSTRAINT "push_keys_one" CHECK (one)
);
--> statement-breakpoint
CREATE TABLE "notifications"."idempotency_keys" (
	"caller" text NOT NULL,
	"key" text NOT NULL,
	"fingerprint" text NOT NULL,
	"result" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_keys_caller_key_pk" PRIMARY KEY("caller","key")
);
--> statement-breakpoint
CREATE INDEX "idempotency_keys_created_at" ON "notifications"."idempotency_keys" USING btree ("created_at");
