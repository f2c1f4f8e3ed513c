CREATE TABLE "posts"."inbox_keys" (
	"publisher" text NOT NULL,
	"key" text NOT NULL,
	"last" bigint NOT NULL,
	CONSTRAINT "inbox_keys_publisher_key_pk" PRIMARY KEY("publisher","key")
);--> statement-breakpoint
INSERT INTO "posts"."inbox_keys" SELECT "publisher", "key", max("sequence") FROM "posts"."inbox" GROUP BY 1, 2;--> statement-breakpoint
DROP TABLE "posts"."inbox" CASCADE;--> statement-breakpoint
CREATE TABLE "posts"."inbox" (
	"event_id" uuid PRIMARY KEY NOT NULL,
	"publisher" text NOT NULL,
	"key" text NOT NULL,
	"sequence" bigint NOT NULL,
	"after" bigint NOT NULL,
	"event" jsonb NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"errors" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"due_at" timestamp with time zone,
	"dead_at" timestamp with time zone,
	"arrived_at" timestamp with time zone DEFAULT now() NOT NULL
);--> statement-breakpoint
CREATE INDEX "inbox_turn" ON "posts"."inbox" USING btree ("publisher","key","sequence");--> statement-breakpoint
CREATE INDEX "inbox_due" ON "posts"."inbox" USING btree ("due_at") WHERE dead_at is null;--> statement-breakpoint
CREATE INDEX "inbox_dead" ON "posts"."inbox" USING btree ("dead_at") WHERE dead_at is not null;--> statement-breakpoint
ALTER TABLE "posts"."outbox_deliveries" ADD COLUMN "after" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "posts"."outbox_keys" ADD COLUMN "sent" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "posts"."outbox_keys" ADD COLUMN "sent_before" jsonb DEFAULT '{}'::jsonb NOT NULL;
