CREATE TABLE "posts"."outbox_new" (
	"serial" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "posts"."outbox_new_serial_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"version" integer NOT NULL,
	"key" text NOT NULL,
	"data" jsonb NOT NULL,
	"request_id" text,
	"traceparent" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"subscribers" jsonb NOT NULL
);--> statement-breakpoint
DELETE FROM "posts"."outbox_deliveries" WHERE confirmed_at IS NULL AND NOT EXISTS (SELECT FROM "posts"."outbox" WHERE id = event_id);
