CREATE SCHEMA IF NOT EXISTS "seam";
--> statement-breakpoint
CREATE TABLE "seam"."sessions" (
	"id" text PRIMARY KEY NOT NULL,
	"data" jsonb NOT NULL,
	"expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE INDEX "sessions_expires_at" ON "seam"."sessions" USING btree ("expires_at");