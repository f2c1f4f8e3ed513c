CREATE TABLE "notifications"."inbox_done" (
	"event_id" uuid NOT NULL,
	"place" bigint NOT NULL,
	"done_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "inbox_done_event_id_place_pk" PRIMARY KEY("event_id","place")
);
--> statement-breakpoint
CREATE TABLE "notifications"."outbox_history" (
	"subscriber" text NOT NULL,
	"event" text NOT NULL,
	"given_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "outbox_history_subscriber_event_pk" PRIMARY KEY("subscriber","event")
);
--> statement-breakpoint
ALTER TABLE "notifications"."outbox_deliveries" DROP CONSTRAINT "outbox_deliveries_event_id_outbox_id_fk";--> statement-breakpoint
ALTER TABLE "notifications"."outbox_deliveries" DROP CONSTRAINT "outbox_deliveries_event_id_subscriber_pk";--> statement-breakpoint
ALTER TABLE "notifications"."outbox_deliveries" ADD COLUMN "place" bigint;--> statement-breakpoint
UPDATE "notifications"."outbox_deliveries" SET "place" = "sequence" FROM "notifications"."outbox" WHERE "id" = "event_id";--> statement-breakpoint
ALTER TABLE "notifications"."outbox_deliveries" ALTER COLUMN "place" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "notifications"."outbox_deliveries" ALTER COLUMN "after" DROP DEFAULT;--> statement-breakpoint
ALTER TABLE "notifications"."outbox_deliveries" ALTER COLUMN "after" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "notifications"."outbox_deliveries" ADD CONSTRAINT "outbox_deliveries_event_id_subscriber_place_pk" PRIMARY KEY("event_id","subscriber","place");--> statement-breakpoint
ALTER TABLE "notifications"."inbox" DROP CONSTRAINT "inbox_pkey";--> statement-breakpoint
ALTER TABLE "notifications"."inbox" RENAME COLUMN "sequence" TO "place";--> statement-breakpoint
UPDATE "notifications"."inbox" SET "event" = "event" || jsonb_build_object('place', "place");--> statement-breakpoint
ALTER TABLE "notifications"."inbox" ALTER COLUMN "after" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "notifications"."inbox" ADD CONSTRAINT "inbox_event_id_place_pk" PRIMARY KEY("event_id","place");--> statement-breakpoint
CREATE INDEX "inbox_waiting" ON "notifications"."inbox" USING btree ("publisher","key","place") WHERE due_at is null and dead_at is null;--> statement-breakpoint
ALTER TABLE "notifications"."inbox_keys" ADD COLUMN "before" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX "inbox_done_at" ON "notifications"."inbox_done" USING btree ("done_at");
