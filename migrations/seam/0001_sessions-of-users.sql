-- Sessions of before do not say whose they are: their users sign in again.
DELETE FROM "seam"."sessions";--> statement-breakpoint
ALTER TABLE "seam"."sessions" ADD COLUMN "user_id" uuid NOT NULL;--> statement-breakpoint
ALTER TABLE "seam"."sessions" ADD COLUMN "last_used_at" timestamp with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
CREATE INDEX "sessions_user_id" ON "seam"."sessions" USING btree ("user_id");