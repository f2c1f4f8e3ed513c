CREATE TABLE "users"."inbox_done" (
	"event_id" uuid NOT NULL,
	"place" bigint NOT NULL,
	"done_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "inbox_done_event_id_place_pk" PRIMARY KEY("event_id","place")
);
--> statement-breakpoint
CREATE TABLE "users"."outbox_history" (
	"subscriber" text NOT NULL,
	"event" text NOT NULL,
	"given_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "outbox_history_subscriber_event_pk" PRIMARY KEY("subscriber","event")
);
--> statement-breakpoint
ALTER TABLE "users"."outbox_deliveries" DROP CONSTRAINT "outbox_deliveries_event_id_outbox_id_fk";--> statement-breakpoint
ALTER TABLE "users"."outbox_deliveries" DROP CONSTRAINT "outbox_deliveries_event_id_subscriber_pk";--> statement-breakpoint
ALTER TABLE "users"."outbox_deliveries" ADD COLUMN "place" bigint;--> statement-breakpoint
UPDATE "users"."outbox_deliveries" SET "place" = "sequence" FROM "users"."outbox" WHERE "id" = "event_id";--> statement-breakpoint
ALTER TABLE "users"."outbox_deliveries" ALTER COLUMN "place" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "users"."outbox_deliveries" ALTER COLUMN "after" DROP DEFAULT;--> statement-breakpoint
ALTER TABLE "users"."outbox_deliveries" ALTER COLUMN "after" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "users"."outbox_deliveries" ADD CONSTRAINT "outbox_deliveries_event_id_subscriber_place_pk" PRIMARY KEY("event_id","subscriber","place");--> statement-breakpoint
ALTER TABLE "users"."inbox" DROP CONSTRAINT "inbox_pkey";--> statement-breakpoint
ALTER TABLE "users"."inbox" RENAME COLUMN "sequence" TO "place";--> statement-breakpoint
UPDATE "users"."inbox" SET "event" = "event" || jsonb_build_object('place', "place");--> statement-breakpoint
ALTER TABLE "users"."inbox" ALTER COLUMN "after" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "users"."inbox" ADD CONSTRAINT "inbox_event_id_place_pk" PRIMARY KEY("event_id","place");--> statement-breakpoint
CREATE INDEX "inbox_waiting" ON "users"."inbox" USING btree ("publisher","key","place") WHERE due_at is null and dead_at is null;--> statement-breakpoint
ALTER TABLE "users"."inbox_keys" ADD COLUMN "before" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX "inbox_done_at" ON "users"."inbox_done" USING btree ("done_at");
