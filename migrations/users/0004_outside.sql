DROP INDEX "users"."outbox_deliveries_due";--> statement-breakpoint
ALTER TABLE "users"."outbox_deliveries" ADD COLUMN "errors" jsonb;--> statement-breakpoint
ALTER TABLE "users"."outbox_deliveries" ADD COLUMN "dead_at" timestamp with time zone;--> statement-breakpoint
CREATE INDEX "outbox_deliveries_outside" ON "users"."outbox_deliveries" USING btree ("subscriber","due_at") WHERE confirmed_at is null and dead_at is null and subscriber like '%:%';--> statement-breakpoint
CREATE INDEX "outbox_deliveries_dead" ON "users"."outbox_deliveries" USING btree ("dead_at") WHERE dead_at is not null and confirmed_at is null;--> statement-breakpoint
CREATE INDEX "outbox_deliveries_due" ON "users"."outbox_deliveries" USING btree ("due_at") WHERE confirmed_at is null and subscriber not like '%:%';